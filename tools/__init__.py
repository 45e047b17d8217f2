"""Programs for developers of this project; none is installed."""
