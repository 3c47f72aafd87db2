"""The loaded model of SD.Next, which is a pipeline of diffusers: this room stands on hosts/diffusers.

Imports hosts/diffusers, hosts/webuis, hosts, files, engine and, on use, SD.Next's modules.
"""
