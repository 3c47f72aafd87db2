"""One room for each way to hold a model, and here what they share. Imports files and the engine; rooms do not import
each other, but that `webuis` is there for those of WebUIs, and `sdnext` stands on `diffusers`.
"""
