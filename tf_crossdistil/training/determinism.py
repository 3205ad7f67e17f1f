"""What makes two trainings of one seed the same to the bit."""

import tensorflow as tf
import tf_keras as keras

# More than a training uses up before its functions are traced.
_MOST_USED = 100_000
_AT_ONCE = 1000


def make_deterministic(seed: int) -> None:
    """Seeds everything and fixes the order of sums. To be called before a model is made, after a strategy.

    TensorFlow's graph optimizer orders sums by names, which Keras and TensorFlow number through the whole process: where a
    number has a digit more, a sum may differ by its rounding. Every process that trains first thing has numbers of six
    digits; one that has used up a million, as by dozens of trainings, goes on with seven.
    """
    keras.utils.set_random_seed(seed)
    keras.backend.reset_uids()
    # Otherwise threads sum the gradients of an embedding's row in any order.
    tf.config.experimental.enable_op_determinism()
    number = max(_number(), _MOST_USED)
    next_digit = 10 ** len(str(number))
    _skip_to(next_digit if next_digit - number < _MOST_USED else number)


def _number() -> int:
    """The number that TensorFlow is at, which it gives its functions' names."""
    name = tf.function(lambda: 0).get_concrete_function().name
    return int(name.decode().rsplit("_", 1)[1])


def _skip_to(number: int) -> None:
    """Uses up numbers, of which every tensor takes one."""
    for _ in range(_number(), number, _AT_ONCE):
        tf.unstack(tf.zeros([_AT_ONCE]))
