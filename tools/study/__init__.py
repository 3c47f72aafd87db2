"""The study: does a pair beat plain textual inversion on the embedded model, and which option earns its cost."""
