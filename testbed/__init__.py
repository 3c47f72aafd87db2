"""What tests, tools and benchmarks all run in: a real WebUI, models as folders, hostile files. It imports no tests."""
