# SPDX-License-Identifier: Apache-2.0
"""The network, the method, and how both are trained and evaluated."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from tf_crossdistil.config.section import Section


class Experts(Section):
    """Experts of a backbone."""

    later = frozenset({"l0_penalty"})

    shared: int = Field(2, ge=1, description="Experts that all tasks read, in ple, mmoe, mssm and snr.")
    per_task: int = Field(1, ge=1, description="Experts of each task, in ple and mssm.")
    units: list[Annotated[int, Field(ge=1)]] = Field(
        [64], min_length=1, description="Hidden units of an expert, or of the bottom where there are no experts."
    )
    levels: int = Field(1, ge=1, description="Extraction levels of ple, routing levels of mssm and snr.")
    l0_penalty: float = Field(
        1e-6, ge=0, description="The weight in the loss of the expected number of open gates of mssm and snr."
    )


class Mutual(Section):
    """Deep Mutual Learning between the tasks' towers (Ren et al., ORSUM 2023), on any backbone."""

    features: Literal["none", "ctfm"] = Field(
        "none", description="`ctfm`: each task's tower reads what the backbone gives the others, by attention."
    )
    distillation: Literal["none", "gkd"] = Field(
        "none", description="`gkd`: adds to each logit what all towers' last hidden layers know."
    )
    teachers: bool = Field(
        False, description="Whether teachers take part, reading students and teachers; students read students only."
    )

    @property
    def parts(self) -> list[str]:
        """What the towers learn from each other by, such as `["ctfm", "gkd"]`; empty where they stand alone."""
        return [part for part in (self.features, self.distillation) if part != "none"]


class Model(Section):
    """The network: feature interaction, then the backbone, then one tower a task."""

    later = frozenset({"mutual"})

    backbone: str = Field(
        "ple",
        description="The network between features and towers: `single`, `shared_bottom`, `cross_stitch`, `mmoe`, `ple`, "
        "`mssm`, `snr`, or [your own](extending.md#a-backbone) as `package.module:Class`.",
    )
    experts: Experts = Field(Experts(), description="The experts of the backbone.")
    towers: list[Annotated[int, Field(ge=1)]] = Field([32], description="Hidden units of every task's tower.")
    dropout: float = Field(0.0, ge=0, lt=1, description="On hidden layers.")
    interaction: Literal["none", "cross", "multi_layer_dcn", "dot"] = Field(
        "none",
        description="Of features, ahead of the backbone: `cross` (one cross layer of DCN-V2), `multi_layer_dcn` (three of low "
        "rank, a quarter of the width), `dot` (appends the dot products of all pairs of embedded features, as DLRM does; they "
        "must have one `dim`).",
    )
    mutual: Mutual = Field(Mutual(), description="What the towers learn from each other.")


class Distillation(Section):
    """The method and its numbers, which have the paper's names."""

    method: str = Field(
        "crossdistil", description="What is trained beside the students, [by name](configuration.md#distillation)."
    )
    calibration: str = Field(
        "platt",
        description="How teachers' logits become those of probabilities (Eq. 8): `platt`, `temperature`, `piecewise_linear`, "
        "or [your own](extending.md#a-calibrator) as `package.module:Class`.",
    )
    alpha: float = Field(0.2, ge=0, le=1, description="Share of the soft label in the students' loss (Eq. 7).")
    beta1: float = Field(1.0, ge=0, description="Weight of the finer order among positives (Eq. 4).")
    beta2: float = Field(1.0, ge=0, description="Weight of the finer order among negatives (Eq. 4).")
    margin: float = Field(0.0, description="m of the error correction (Eq. 10).")
    temperature: float = Field(1.0, gt=0, description="tau of the soft labels (Eq. 6).")
    ranking_weight: float = Field(
        0.004,
        ge=0,
        description="Scales the teachers' ranking loss (Eq. 4) beside the students' losses; both are means, so it does not "
        "depend on the sizes of batches and strata.",
    )
    auxiliary: dict[str, list[str]] = Field(
        {},
        description="For each task, the ordered tasks whose labels refine its order: `{finish: [like]}`; a task that is not "
        "named has all others.",
    )


# Which values of a metric are better.
DIRECTIONS: dict[str, Literal["max", "min"]] = {"auc": "max", "multi_auc": "max", "log_loss": "min", "mse": "min"}


class Selection(Section):
    """A metric of the validation split by which something is chosen."""

    metric: Literal["auc", "multi_auc", "log_loss", "mse"] = Field(
        "auc",
        description="Mean over the tasks that have it: `mse` over the regression tasks, each in its own units squared, so that "
        "with several the largest decides; the others over the binary tasks.",
    )
    direction: Literal["max", "min"] | None = Field(
        None, description="Which values are better; one that contradicts the metric is an error, without it the metric's own."
    )

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
    """Stop when a metric of the validation split has not improved for some epochs."""

    patience: int = Field(2, ge=1, description="So many epochs without an improvement end the training.")


class Checkpoints(Section):
    """What is kept of a training, so that it can go on, and of its best epoch."""

    every_steps: int = Field(1000, ge=1, description="A checkpoint of everything after so many steps, and after each epoch.")
    keep: int = Field(2, ge=1, description="So many of the last checkpoints stay, and the best.")


class Training(Section):
    """How to train."""

    later = frozenset({"label_exchange"})

    batch_size: int = Field(4096, ge=1, description="Natural rows a step.")
    strata_batch_size: int = Field(
        64,
        ge=8,
        multiple_of=8,
        description="Rows drawn a step from each label combination, for the teachers' ranking loss.",
    )
    epochs: int = Field(10, ge=1, description="At most.")
    learning_rate: float = Field(0.001, gt=0, description="Of dense layers (Adam).")
    embedding_learning_rate: float = Field(0.02, gt=0, description="Of embeddings (Adagrad).")
    calibration_learning_rate: float = Field(0.01, gt=0, description="Of the calibration (Adam).")
    loss: str = Field(
        "cross_entropy",
        description="Of students on their labels: `cross_entropy`, or [your own](extending.md#a-loss) as "
        "`package.module:function`.",
    )
    loss_weighting: Literal["fixed", "uncertainty"] = Field(
        "fixed",
        description="`fixed`: students' losses count by the tasks' `weight`; `uncertainty`: by factors learned beside it "
        "(Kendall et al., CVPR 2018).",
    )
    label_exchange: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        {},
        description="Corrupts the training rows, to see what a method bears: `{like: 0.3}` makes 30 % of the rows with a "
        "`like`, drawn by `seed`, rows without, and as many without rows with one; for a training split held in memory.",
    )
    early_stopping: EarlyStopping | None = Field(
        EarlyStopping(), description="When to stop before the last epoch; null for never."
    )
    strategy: Literal["none", "mirrored", "multi_worker", "parameter_server"] = Field(
        "none",
        description="`none`: one device; `mirrored`: all GPUs of a host; `multi_worker`: many hosts in step; "
        "`parameter_server`: many hosts, tables spread over servers. Batch sizes count the rows of all devices together.",
    )
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        "float32",
        description="In which dense layers compute while they are trained: `mixed_float16` has loss scaling and cannot be with "
        "parameter servers; weights and embeddings stay float32, and evaluation and export compute in it. For GPUs: on CPUs "
        "the mixed ones are slower.",
    )
    xla: bool = Field(False, description="Compile the dense layers for training. For GPUs: on CPUs it is slower.")
    checkpoints: Checkpoints = Field(Checkpoints(), description="What is kept, and how often.")
    seed: int = Field(0, ge=0, lt=2**32, description="The same seed gives the same draws and weights.")

    @model_validator(mode="after")
    def _precision_of_the_strategy(self) -> Self:
        if self.precision == "mixed_float16" and self.strategy == "parameter_server":
            raise ValueError(
                "precision: mixed_float16 needs losses scaled, which Keras cannot do with strategy: parameter_server; "
                "take mixed_bfloat16, which needs none, or float32"
            )
        return self


class Evaluation(Section):
    """What is measured beside the metrics that all tasks have."""

    group_by: str | None = Field(
        None, description="The categorical or hashed feature within whose values GAUC ranks, usually the user."
    )
