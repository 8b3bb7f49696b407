"""Archives of any size: blocks of images in, one Parquet part a block out, on whatever runs them."""
