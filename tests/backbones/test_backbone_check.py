# SPDX-License-Identifier: Apache-2.0
"""What is found out about a user's backbone before a run is started with it."""

import re

import pytest
import tensorflow as tf
import tf_keras as keras

from tests.models.small_model import OWN_BACKBONE, small_experiment, small_metadata
from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.backbones.checking import check_backbone, check_backbone_trains
from tf_crossdistil.backbones.registry import BACKBONES
from tf_crossdistil.config import Experts, Model, Training
from tf_crossdistil.errors import UsageError
from tf_crossdistil.models.ranking_network import check_network
from tf_crossdistil.training.trainer import train

STUDENTS, TEACHERS = ["a", "b", "c"], ["a+", "b+", "c+"]
WIDTH = 4


class Heads(Backbone):
    """Right: one layer a task."""

    def __init__(self, students, teachers, settings, **kwargs):
        super().__init__(students, teachers, settings, **kwargs)
        self.heads = {task: keras.layers.Dense(5) for task in [*students, *teachers]}

    def call(self, inputs, tasks, training=False):
        return {task: self.heads[task](inputs) for task in tasks}


class GraphHeads(Heads):
    """Right: what it does depends on numbers, which AutoGraph makes a graph of."""

    def call(self, inputs, tasks, training=False):
        scale = tf.constant(1.0)
        if tf.reduce_sum(inputs) > 0:
            scale = tf.constant(2.0)
        return {task: self.heads[task](inputs) * scale for task in tasks}


class PenalisedOutputs(Heads):
    def __init__(self, students, teachers, settings, **kwargs):
        super().__init__(students, teachers, settings, **kwargs)
        regularizer = keras.regularizers.L2(0.1)
        self.heads = {task: keras.layers.Dense(5, activity_regularizer=regularizer) for task in [*students, *teachers]}


class AddedTensor(Heads):
    def call(self, inputs, tasks, training=False):
        outputs = super().call(inputs, tasks)
        self.add_loss(0.01 * tf.reduce_mean(outputs[tasks[0]] ** 2))
        return outputs


class OtherSignature(Backbone):
    def __init__(self, settings):
        super().__init__([], [], settings)


class OtherCall(Backbone):
    def call(self, inputs):  # type: ignore[override]
        return inputs


class NoCall(Backbone):
    pass


class Raises(Backbone):
    def call(self, inputs, tasks, training=False):
        raise ValueError("what a mess\nof lines")


class WrongKey(Backbone):
    def call(self, inputs, tasks, training=False):
        no_tasks: dict[str, tf.Tensor] = {}
        return dict.fromkeys(tasks, no_tasks["gone"])


class WrongProduct(Backbone):
    def call(self, inputs, tasks, training=False):
        return dict.fromkeys(tasks, inputs @ tf.zeros([9, 9]))


class OneTensor(Backbone):
    def call(self, inputs, tasks, training=False):
        return inputs


class Omits(Backbone):
    def call(self, inputs, tasks, training=False):
        return dict.fromkeys(tasks[:-1], inputs)


class Flat(Backbone):
    def call(self, inputs, tasks, training=False):
        return dict.fromkeys(tasks, inputs[:, 0])


class OneRow(Backbone):
    def call(self, inputs, tasks, training=False):
        return dict.fromkeys(tasks, inputs[:1])


class Integers(Backbone):
    def call(self, inputs, tasks, training=False):
        return dict.fromkeys(tasks, tf.cast(inputs, tf.int64))


class Words(Backbone):
    def call(self, inputs, tasks, training=False):
        return dict.fromkeys(tasks, "representation")


class EagerOnly(Heads):
    def call(self, inputs, tasks, training=False):
        inputs.numpy()
        return super().call(inputs, tasks)


class NeedsTeachers(Heads):
    def __init__(self, students, teachers, settings, **kwargs):
        super().__init__(students, teachers, settings, **kwargs)
        self.first = self.heads[teachers[0]]


class ReadsTeacher(Heads):
    """Each student's layer and that of its teacher."""

    def call(self, inputs, tasks, training=False):
        outputs = super().call(inputs, [*self.students, *self.teachers])
        mixed = {task: outputs[task] + outputs.get(f"{task}+", 0.0) for task in self.students}
        return {task: (outputs | mixed)[task] for task in tasks}


class ReadsFrozenTeacher(ReadsTeacher):
    """No gradient tells that the students depend on it."""

    def call(self, inputs, tasks, training=False):
        outputs = Heads.call(self, inputs, [*self.students, *self.teachers])
        mixed = {task: outputs[task] + tf.stop_gradient(outputs.get(f"{task}+", 0.0)) for task in self.students}
        return {task: (outputs | mixed)[task] for task in tasks}


class SharedGate(Backbone):
    """Students read a gate over the experts of everyone."""

    def __init__(self, students, teachers, settings, **kwargs):
        super().__init__(students, teachers, settings, **kwargs)
        self.gate = keras.layers.Dense(len(students) + len(teachers))

    def call(self, inputs, tasks, training=False):
        return dict.fromkeys(tasks, self.gate(inputs)[:, :2])


class ByCompany(Heads):
    """What a student gets depends on how many tasks are asked for."""

    def call(self, inputs, tasks, training=False):
        return {task: self.heads[task](inputs) / len(tasks) for task in tasks}


class ReadsTeachersEmbeddings(Heads):
    shares_embeddings = False

    def call(self, inputs, tasks, training=False):
        return {task: self.heads[task](inputs[task] + inputs[self.teachers[0]]) for task in tasks}


class OneKindOfFloat(Heads):
    """Its numbers are float32, whatever the rows are."""

    def call(self, inputs, tasks, training=False):
        return {task: self.heads[task](inputs) * tf.ones([1, 5]) for task in tasks}


class NoKernel(Heads):
    """Formats numbers, which nothing compiles."""

    def call(self, inputs, tasks, training=False):
        words = tf.strings.as_string(inputs)
        return {task: self.heads[task](tf.strings.to_number(words)) for task in tasks}


FAULTS = {
    OtherSignature: r"cannot be made as Class\(students=\['finish', .*TypeError: .*__init__\(\)",
    OtherCall: r"fails: TypeError: .*call\(\) takes 2 positional arguments",
    NoCall: "fails: NotImplementedError: NoCall must implement call",
    Raises: "fails: ValueError: what a mess; mend it$",
    WrongKey: "fails: KeyError: gone; mend it$",
    WrongProduct: "fails: InvalidArgumentError: .*Matrix size-incompatible",
    OneTensor: r"must give a dict of tensors \[rows, units\] by task; received a tensor \(3, \d+\) of float32$",
    Omits: r"must give a dict .*; received none for \['like\+'\]$",
    Flat: r"must give a dict .*; received a tensor \(3,\) of float32 for 'finish', where there are 3 rows$",
    OneRow: r"received a tensor \(1, \d+\) of float32 for 'finish', where there are 3 rows$",
    Integers: r"received a tensor \(3, \d+\) of int64 for 'finish'",
    Words: "received a str for 'finish'",
    EagerOnly: r"fails inside a tf.function, as it is trained and exported: AttributeError: .*'numpy'",
    NeedsTeachers: r"cannot be made as Class\(.*teachers=\[\], settings\): IndexError: list index out of range",
    ReadsTeacher: "must not compute students from variables that belong .* 8 variables where there are teachers, and 4",
    ReadsFrozenTeacher: "must not compute students from variables that belong to teachers",
    SharedGate: r"belong to teachers.*only with teachers \[13, 4\], \[4\], only without \[13, 2\], \[2\]",
    ByCompany: r"must give a student the same, .*'finish' among \['finish', 'like', 'finish\+', 'like\+'\]",
    ReadsTeachersEmbeddings: r"by task and tasks=\['finish', 'like'\], fails: KeyError: finish\+; mend it$",
}


def checked(name, **sections):
    experiment = small_experiment(model={"backbone": name}, **sections)
    check_network(experiment, small_metadata(experiment))


@pytest.mark.parametrize("backbone", FAULTS, ids=lambda backbone: backbone.__name__)
def test_a_backbone_of_a_wrong_form_is_one_sentence(backbone):
    name = f"{__name__}:{backbone.__name__}"
    with pytest.raises(UsageError, match=FAULTS[backbone]) as raised:
        checked(name)
    assert re.match(f"model.backbone: '{re.escape(name)}'", str(raised.value))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("backbone", "training"),
    [(OneKindOfFloat, {"precision": "mixed_bfloat16"}), (NoKernel, {"xla": True})],
    ids=["precision", "xla"],
)
def test_a_backbone_that_only_fails_in_training(backbone, training):
    name = f"{__name__}:{backbone.__name__}"
    checked(name)
    asked = Training.model_validate(training)
    expected = (
        f"'{name}' fails in training with training.precision: {asked.precision} and training.xla: {str(asked.xla).lower()}"
    )
    with pytest.raises(UsageError, match=re.escape(expected)) as raised:
        checked(name, training=training)
    assert "\n" not in str(raised.value)
    checked(OWN_BACKBONE, training=training)


@pytest.mark.parametrize("backbone", [PenalisedOutputs, AddedTensor], ids=lambda backbone: backbone.__name__)
def test_penalties_of_what_is_computed_are_tried_too(backbone):
    name = f"{__name__}:{backbone.__name__}"
    settings = Model(backbone=name)
    for plain in ({}, {"precision": "mixed_bfloat16"}):
        check_backbone_trains(settings, Training.model_validate(plain), STUDENTS, [], WIDTH)
    with pytest.raises(UsageError, match=f"'{name}' fails in training .*training.xla: true: InaccessibleTensorError") as raised:
        check_backbone_trains(settings, Training(xla=True), STUDENTS, [], WIDTH)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", ["crossdistil", "none"])
@pytest.mark.parametrize("backbone", [Heads, GraphHeads], ids=lambda backbone: backbone.__name__)
def test_a_right_backbone_passes(backbone, method):
    checked(f"{__name__}:{backbone.__name__}", distillation={"method": method})
    checked(OWN_BACKBONE, distillation={"method": method})


def test_what_only_concerns_teachers_is_no_matter_without_them():
    checked(f"{__name__}:ReadsTeacher", distillation={"method": "none"})


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("levels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_every_backbone_of_the_package_passes(name, levels):
    settings = Model(backbone=name, experts=Experts(shared=2, per_task=2, units=[6, 5, 4][:levels], levels=levels), dropout=0.3)
    check_backbone(settings, STUDENTS, TEACHERS, WIDTH)
    check_backbone(settings, STUDENTS, [], WIDTH)


def test_the_width_is_that_behind_the_interaction(monkeypatch):
    seen = []
    monkeypatch.setattr(Heads, "build", lambda self, shape: seen.append(shape[-1]), raising=False)
    features = [
        {"name": "user", "kind": "categorical", "dim": 3},
        {"name": "author", "kind": "hashed", "buckets": 10**12, "dim": 3},
    ]
    for interaction, width in [("none", 6), ("dot", 7)]:
        experiment = small_experiment(model={"backbone": f"{__name__}:Heads", "interaction": interaction}, features=features)
        check_network(experiment, small_metadata(experiment))
        assert set(seen) == {width}
        seen.clear()


def test_nothing_is_left_behind_by_a_backbone_that_fails(tmp_path, prepared, shared_experiment, quiet_console):
    model = shared_experiment.model.model_copy(update={"backbone": f"{__name__}:Raises"})
    with pytest.raises(UsageError, match="what a mess"):
        train(shared_experiment.model_copy(update={"model": model}), prepared, tmp_path / "run", quiet_console)
    assert not (tmp_path / "run").exists()
