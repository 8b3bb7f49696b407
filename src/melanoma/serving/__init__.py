"""The server: a bundle behind a REST API, without TensorFlow."""
