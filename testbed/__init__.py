"""What tests and benchmarks both run in: a real WebUI, and models saved as folders. It imports no tests."""
