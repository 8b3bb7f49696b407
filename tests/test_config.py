import pytest
import yaml

from melanoma.config import Recipe, dump_recipe, load_recipe, shipped_recipes
from melanoma.errors import ConfigError


def test_shipped_recipes_load():
    assert {"default", "original_cnn", "original_cnn_tuned"} <= set(shipped_recipes())
    for name in shipped_recipes():
        assert load_recipe(name).name == name


def test_original_recipe_is_what_the_original_describes():
    recipe = load_recipe("original_cnn")
    assert (recipe.input.size, recipe.training.batch_size, recipe.training.epochs) == (150, 32, 10)
    assert recipe.optimizer.name == "adam"
    changes = recipe.augmentation
    assert (changes.shift, changes.shear, changes.zoom, changes.rotation) == (0.2, 0.2, 0.2, 20)
    assert changes.horizontal_flip
    assert not changes.vertical_flip


def test_the_default_recipe_lets_no_source_tell_the_class():
    recipe = load_recipe("default")
    assert recipe.training.draw == "balanced"
    assert recipe.training.diagnosis_loss > 0
    assert recipe.augmentation.frame > 0.5
    assert recipe.evaluation.target_sensitivity >= 0.92  # wanted in every set


def test_dump_reads_back_the_same(tmp_path):
    recipe = load_recipe("original_cnn_tuned", ["training.epochs=3", "model.dropout=0.25"])
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe))
    assert load_recipe(str(path)) == recipe
    assert recipe.training.epochs == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", "training.epoch: there is no such key"),
        (
            "optimizer={schedule: cosine, warmup_epochs: 20}",
            "warmup_epochs of 20 leaves nothing of training.epochs=10 ",
        ),
        (
            "augmentation={mixup: 0.8, cutmix: 0.8}",
            "augmentation: mixup and cutmix are shares of the batches",
        ),
        ("splits.val=0", "splits.val"),
        ("optimizer.learning_rate=.inf", "optimizer.learning_rate"),
        ("training.epochs=0", "training.epochs"),
        ("training.epochs=many", "training.epochs"),
        ("training.epochs", "key=value"),
        ("=3", "key=value"),
        ("name.x=3", "name"),
        ("optimizer.learning_rate=.nan", "optimizer.learning_rate"),
        ("optimizer.learning_rate=[", "--set"),
        ("model.name=resnet", "model.name"),
    ],
)
def test_a_wrong_override_names_the_key_in_one_line(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe("original_cnn", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b\n", "", "name: x\nepochz: 3\n", "\0"])
def test_a_broken_recipe_file_is_one_clear_line(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(ConfigError, match="original_cnn_tuned"):
        load_recipe("original_cn")


def test_defaults_are_valid():
    assert Recipe.model_validate(yaml.safe_load(dump_recipe(Recipe(name="x")))) == Recipe(name="x")
