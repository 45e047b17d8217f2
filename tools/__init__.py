"""Programs for those who change this project; nothing of them is installed."""
