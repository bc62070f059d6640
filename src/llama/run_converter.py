# Runs llama.cpp's converter: SCRIPT OUTPUT PRE_TOKENIZER ARGUMENT...
# - Code that lies in a checkpoint is not run, whatever the converter asks of transformers.
# - PRE_TOKENIZER, if it is not empty, is llama.cpp's name of the pre-tokenizer.
# - When the program that waits for it ends before it, OUTPUT is deleted: standard input ends then, and SIGTERM comes.
import sys

# The folder that the user is in is no place for modules: it may be a checkpoint.
sys.path[:] = [folder for folder in sys.path if folder]

import os
import runpy
import signal
import threading

script, output, pre_tokenizer = sys.argv[1:4]
sys.argv = [script, *sys.argv[4:]]
sys.path.insert(0, os.path.dirname(script))


def end_after(wait, *arguments):
    wait(*arguments)
    try:
        os.remove(output)
    except OSError:
        pass
    os._exit(1)


# A handler would have to wait for what the main thread computes. A thread waits for the signal instead, which all block.
if hasattr(signal, "sigwait"):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=end_after, args=(signal.sigwait, [signal.SIGTERM]), daemon=True).start()
threading.Thread(target=end_after, args=(os.read, 0, 1), daemon=True).start()


def refuse(*arguments, **named):
    raise RuntimeError("trust_remote_code is needed for this checkpoint")


try:
    import transformers
    from transformers import dynamic_module_utils
except ImportError:
    pass  # The converter says what is missing.
else:
    dynamic_module_utils.get_class_in_module = refuse
    # Where transformers has a class of its own too, that is taken.
    for auto in (transformers.AutoConfig, transformers.AutoTokenizer):
        auto.from_pretrained = staticmethod(
            lambda *arguments, _load=auto.from_pretrained, **named: _load(
                *arguments, **{**named, "trust_remote_code": False}
            )
        )

if pre_tokenizer:
    import conversion.base

    conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: pre_tokenizer

runpy.run_path(script, run_name="__main__")
