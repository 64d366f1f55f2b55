"""The same work on tau and on other libraries that keep what is finished: python -m benchmarks.peers."""
