"""Networks, batches, the training loop and the export to the runtime format."""
