"""The method, without a host: nothing here knows the WebUI, gradio, diffusers or a pipeline."""
