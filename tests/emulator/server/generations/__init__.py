"""What differs between the generations that the embedded backend speaks."""
