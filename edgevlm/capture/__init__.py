"""1. Where frames come from.

Two sides of one wall. In the **capture host**, a child process (PyAV, numpy and little else): `host`,
`runner`, `ring`, `decoder`, `sources`. In the daemon: `hosts` (start, watch, kill, replace) and `config`
(what the YAML says). Shared: `spec` (a camera as told over the wall) and `link` (the messages).
"""
