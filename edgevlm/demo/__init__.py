"""What `edgevlm demo` needs that is not the product: two drawn cameras on RTSP, and a broker where none runs.

Both run as child processes, so that neither encoder nor broker shares the daemon's loop, logs or life.
Nothing outside this package and the command `demo` imports it.
"""
