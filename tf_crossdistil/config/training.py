"""The network, the method, and how both are trained and evaluated."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from tf_crossdistil.config.section import Section


class Experts(Section):
    """Experts of a backbone: how many are shared, how many each task owns, their hidden `units`, extraction `levels`.

    `l0_penalty`: the weight in the loss of the expected number of open gates, for backbones that route through such.
    """

    later = frozenset({"l0_penalty"})

    shared: int = Field(2, ge=1)
    per_task: int = Field(1, ge=1)
    units: list[Annotated[int, Field(ge=1)]] = Field([64], min_length=1)
    levels: int = Field(1, ge=1)
    l0_penalty: float = Field(1e-6, ge=0)


class Mutual(Section):
    """Deep Mutual Learning between the tasks' towers (Ren et al., ORSUM 2023), on any backbone.

    `features`: `ctfm` lets each task's tower read what the backbone gives the others, by attention. `distillation`: `gkd`
    adds to each logit what all towers' last hidden layers know. `teachers`: whether teachers take part, reading students and
    teachers; students read students only.
    """

    features: Literal["none", "ctfm"] = "none"
    distillation: Literal["none", "gkd"] = "none"
    teachers: bool = False


class Model(Section):
    """The network: feature `interaction` ahead of the `backbone`, then one tower a task with these hidden units.

    `mutual`: what the towers learn from each other.
    """

    later = frozenset({"mutual"})

    backbone: str = "ple"
    experts: Experts = Experts()
    towers: list[Annotated[int, Field(ge=1)]] = [32]
    dropout: float = Field(0.0, ge=0, lt=1)
    interaction: Literal["none", "cross", "multi_layer_dcn", "dot"] = "none"
    mutual: Mutual = Mutual()


class Distillation(Section):
    """The method and its numbers (DESIGN names follow the paper).

    `alpha` mixes hard and soft labels (Eq. 7), `beta1` and `beta2` weigh the finer order (Eq. 4), `margin` is m of the error
    correction (Eq. 10), `temperature` is tau (Eq. 6). `ranking_weight` scales Eq. 4 beside the students' losses; both are
    means, so that it keeps its meaning when batch or stratum sizes change.
    `calibration`: how teachers' logits become those of probabilities (Eq. 8). `auxiliary`: for each target task, the ordered
    tasks whose labels refine its order; default all others.
    """

    method: str = "crossdistil"
    calibration: str = "platt"
    alpha: float = Field(0.2, ge=0, le=1)
    beta1: float = Field(1.0, ge=0)
    beta2: float = Field(1.0, ge=0)
    margin: float = 0.0
    temperature: float = Field(1.0, gt=0)
    ranking_weight: float = Field(0.004, ge=0)
    auxiliary: dict[str, list[str]] = {}


# Which values of a metric are better.
DIRECTIONS: dict[str, Literal["max", "min"]] = {"auc": "max", "multi_auc": "max", "log_loss": "min", "mse": "min"}


class Selection(Section):
    """The mean of `metric` over the tasks that have it, on the validation split, by which something is chosen.

    `mse` is that of regression tasks, the others are those of binary ones. `direction` says which values are better; one that
    contradicts the metric is an error.
    """

    metric: Literal["auc", "multi_auc", "log_loss", "mse"] = "auc"
    direction: Literal["max", "min"] | None = None

    @property
    def larger_is_better(self) -> bool:
        """Whether a larger value of the metric is better."""
        return DIRECTIONS[self.metric] == "max"

    @model_validator(mode="after")
    def _direction_of_the_metric(self) -> Self:
        if self.direction not in (None, DIRECTIONS[self.metric]):
            raise ValueError(
                f"direction: {self.direction} contradicts metric: {self.metric}, of which the {DIRECTIONS[self.metric]}imum "
                "is best; mend either"
            )
        return self


class EarlyStopping(Selection):
    """Stop when the metric has not improved for `patience` epochs."""

    patience: int = Field(2, ge=1)


class Checkpoints(Section):
    """A checkpoint of everything after `every_steps` steps and after each epoch; the last `keep` stay, and the best."""

    every_steps: int = Field(1000, ge=1)
    keep: int = Field(2, ge=1)


class Training(Section):
    """How to train. `batch_size` counts natural rows, `strata_batch_size` rows drawn from each label combination.

    `loss`: of the students on their labels. `loss_weighting`: `fixed` by the tasks' `weight`, or learned beside it from the
    tasks' `uncertainty` (Kendall et al., CVPR 2018). `label_exchange`: corrupts the training rows, to see what a method bears:
    of each binary task named, this share of the positive rows, drawn by `seed`, becomes negative, and as many negative rows
    become positive. `strategy`: over which devices and hosts a step is spread; batch sizes count rows of all of them together.
    `precision`: in which the dense layers compute; weights stay float32. `xla`: they are compiled.
    """

    later = frozenset({"label_exchange"})

    batch_size: int = Field(4096, ge=1)
    strata_batch_size: int = Field(64, ge=8, multiple_of=8)
    epochs: int = Field(10, ge=1)
    learning_rate: float = Field(0.001, gt=0)
    embedding_learning_rate: float = Field(0.02, gt=0)
    calibration_learning_rate: float = Field(0.01, gt=0)
    loss: str = "cross_entropy"
    loss_weighting: Literal["fixed", "uncertainty"] = "fixed"
    label_exchange: dict[str, Annotated[float, Field(gt=0, le=1)]] = {}
    early_stopping: EarlyStopping | None = EarlyStopping()
    strategy: Literal["none", "mirrored", "multi_worker", "parameter_server"] = "none"
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    xla: bool = False
    checkpoints: Checkpoints = Checkpoints()
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _precision_of_the_strategy(self) -> Self:
        if self.precision == "mixed_float16" and self.strategy == "parameter_server":
            raise ValueError(
                "precision: mixed_float16 needs losses scaled, which Keras cannot do with strategy: parameter_server; "
                "take mixed_bfloat16, which needs none, or float32"
            )
        return self


class Evaluation(Section):
    """`group_by`: the categorical or hashed feature within whose values GAUC ranks, usually the user id."""

    group_by: str | None = None
