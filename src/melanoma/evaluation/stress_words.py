"""What a stress test found, in sentences."""

from collections.abc import Mapping
from typing import Final

from melanoma.evaluation.effects import ClassEffect, Effect
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.pages import format_percent
from melanoma.evaluation.pairs import LESION_ALONE, LESION_HIDDEN, TITLES
from melanoma.evaluation.subgroups import MIN_OF_CLASS, TOO_FEW

PLURAL: Final = {"melanoma": "melanomas", "other": "other images", "unlabelled": "unlabelled images"}
_WITHOUT_LESION: Final = {
    1: (
        "Melanoma is still told: from what lies around the lesion, from how much is hidden, or from what the"
        " segmentation left of it."
    ),
    0: "No sign that melanoma is told without the lesion.",
    -1: "Below chance: without their lesion melanomas get the lower probabilities.",
}


def describe(effect: Effect) -> str:
    """What one change does, in a few sentences."""
    title = TITLES[effect.change][0]
    if not effect.classes:
        return f"{title}: could be made of no image ({_list_reasons(effect)})."
    if effect.change in {LESION_HIDDEN, LESION_ALONE} and effect.auroc.after.value is not None:
        words = [f"{title}: {_describe_ranking(effect)}"]
    else:
        words = [f"{title} {_describe_movement(effect)}.", f"{_describe_flips(effect)}."]
    if effect.refused:
        words.append(f"No longer assessed: {effect.refused:,} image{'s' * (effect.refused > 1)}.")
    if effect.missing:
        words.append(f"Left out: {_list_reasons(effect)}.")
    return " ".join(words)


def state(figure: Estimate) -> str:
    """A figure with its interval, or why there is none, to two decimals."""
    if figure.value is None:
        return figure.note
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    value, low, high = (
        f"{round(x, 2) + 0.0:.2f}" for x in (figure.value, figure.low, figure.high)
    )  # no -0.00
    return f"{value} ({low} to {high})"


def _describe_movement(effect: Effect) -> str:
    parts = [(part.figures["abs_delta"].changed, PLURAL[name]) for name, part in effect.classes.items()]
    moved = " and ".join(f"{_number(figure)} in {plural}" for figure, plural in parts)
    direction = _name_direction(effect.classes)
    control = (
        "as large a patch of skin hidden" if effect.change == LESION_HIDDEN else "noise of the same energy"
    )
    return f"moves y_prob by {moved}{direction}{_compare_with(control, effect.classes)}"


def _name_direction(classes: Mapping[str, ClassEffect]) -> str:
    signs = {
        name: _sign(part.figures["delta"].changed, 0) if _is_enough(part) else 0
        for name, part in classes.items()
    }
    if set(signs.values()) == {1}:
        return ", towards melanoma"
    if set(signs.values()) == {-1}:
        return ", away from melanoma"
    return ", the classes towards each other" if signs == {"melanoma": -1, "other": 1} else ""


def _compare_with(control: str, classes: Mapping[str, ClassEffect]) -> str:
    found = {name: part.figures["abs_delta"] for name, part in classes.items()}
    controls = [contrast.control for contrast in found.values() if contrast.control]
    if not controls:
        return ""
    moved = " and ".join(_number(figure) for figure in controls)
    enough = [name for name, part in classes.items() if _is_enough(part)]
    if not enough:
        return f"; {control} moves it by {moved}, {TOO_FEW}"
    differences = {name: found[name].difference for name in enough}
    signs = {name: _sign(difference, 0) for name, difference in differences.items() if difference}
    clear = [
        f"clearly {word} in {' and '.join(PLURAL[name] for name in signs if signs[name] == sign)}"
        for sign, word in ((1, "less"), (-1, "more"))
        if sign in signs.values()
    ]
    return f"; {control} moves it by {moved}, {', '.join(clear) or 'no clear difference'}"


def _describe_flips(effect: Effect) -> str:
    """The flips that harm; of unlabelled images both kinds."""
    said = []
    for name, part in effect.classes.items():
        lost, gained = (part.figures[figure].changed.value or 0.0 for figure in ("to_no_sign", "to_refer"))
        if name == "melanoma":
            said.append(
                f"{format_percent(lost)} of the melanomas are lost" if lost else "no melanoma is lost"
            )
        elif name == "other":
            alarms = f"{format_percent(gained)} of the other images become false alarms"
            said.append(alarms if gained else "no false alarm is gained")
        else:
            said.append(f"{format_percent(lost)} of the unlabelled images are no longer referred")
            said.append(f"{format_percent(gained)} newly")
    text = ", ".join(said)
    return text[:1].upper() + text[1:]


def _describe_ranking(effect: Effect) -> str:
    auroc = effect.auroc
    words = f"AUROC {state(auroc.after)}, of the same photographs as they are {state(auroc.before)}"
    if auroc.control_difference is not None and auroc.control_difference.value is not None:
        words += f"; as large a patch of skin hidden instead changes it by {state(auroc.control_difference)}"
    if effect.change == LESION_ALONE or auroc.after.low is None:
        return f"{words}."
    lost = effect.classes["melanoma"].figures["to_no_sign"].changed.value or 0.0
    words += f". {format_percent(lost)} of the melanomas are no longer referred"
    if not all(map(_is_enough, effect.classes.values())):
        return f"{words}. With so few images nobody can say whether melanoma is told without the lesion."
    return f"{words}. {_WITHOUT_LESION[_sign(auroc.after, 0.5)]}"


def _list_reasons(effect: Effect) -> str:
    return ", ".join(f"{count:,} ({reason})" for reason, count in effect.missing.items())


def _is_enough(part: ClassEffect) -> bool:
    """Whether an interval may be called clear: from a few groups it is narrow by luck."""
    return part.n_groups >= MIN_OF_CLASS


def _sign(figure: Estimate, middle: float) -> int:
    """1 or -1 when the whole interval lies above or below `middle`, else 0."""
    if figure.low is None or figure.high is None:
        return 0
    return int(figure.low > middle) - int(figure.high < middle)


def _number(figure: Estimate) -> str:
    return "–" if figure.value is None else f"{figure.value:.3f}"
