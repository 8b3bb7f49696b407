"""What a collection of images is worth: repeats, leaks, and what tells the class without the lesion."""
