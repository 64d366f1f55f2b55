"""The servers that models are asked on, each in one file, and the answers of tests."""
