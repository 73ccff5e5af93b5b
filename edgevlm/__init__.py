"""edgevlm puts a vision-language model behind your cameras. The folders are the way of a frame.

    capture   1. where frames come from: child processes ("capture hosts"), one thread a camera
    choose    2. which frames deserve a question: pure, synchronous, no clock of its own
    infer     3. asking the model: prompts, backends, a pool of workers, validated answers
    publish   4. where answers go: couriers that deliver messages to MQTT, files, stdout

Around them: `records` (what travels), `errors` (the whole tree), `runtime` (clock, logs, back-off: what
every stage leans on), `config` (one YAML file), `pipeline` (READ FIRST: one camera wired through the four
stages), `guard` (what all of it may connect to), `daemon` (its life and death), `commands` and `cli` (what a
user types).
"""

__version__ = "0.1.0"
