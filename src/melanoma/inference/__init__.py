"""Image in, `Prediction` out: the light room that every user of a model goes through."""
