"""The stacked program: K trials of networks of one kind, one optimiser and one batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from tuner.models.common import common
from tuner.models.keyed import dropout_threshold
from tuner.models.layers.dropout import dropout_rates
from tuner.models.layers.layer import DropoutInputs, Parameter, Weights, transposed_for_module
from tuner.models.layers.norms import Norm
from tuner.models.layers.tape import Operation, Tape
from tuner.models.module import initial_values, read_values
from tuner.models.network import Network
from tuner.train.measure.portions import evaluation_rows
from tuner.train.program import EpochPlan, Member, Problem, RowState
from tuner.train.programs.row_program import RowProgram
from tuner.train.programs.stacked.evaluator import Evaluator
from tuner.train.programs.stacked.examples import first_shape, targets_table
from tuner.train.programs.stacked.fit import RowFit
from tuner.train.programs.stacked.loss import record_loss_gradient
from tuner.train.programs.stacked.network import NetworkParts, record_network
from tuner.train.programs.stacked.step import KERNELS_AFTER_RUNS, SCRIPT_AFTER_RUNS
from tuner.train.replay.native.steps import Parts, run_parts
from tuner.train.rows.at_hand import AtHand
from tuner.train.rows.rows import NO_CLASS, RowLayout
from tuner.train.rows.step import Recording, new_pool
from tuner.train.settings import Settings
from tuner.train.way import Way

_EPOCHS_BYTES = 2**22
"""Of the weights and outputs of epochs that are trained in one go."""


class StackedProgram(RowProgram):
    """K networks in the smallest shape that holds them all; steps are replayed tapes."""

    way = Way.STACKED
    format = "stacked"
    buffers_kept_as = ("", "best.", "average.")

    def __init__(self, members: Sequence[Member], problem: Problem, *, initialise: bool = True) -> None:
        """Stack trials.

        Args:
            members: The trials; their networks are alike when rounded, but for what `models.common` allows.
            problem: What they learn.
            initialise: Draw initial weights; otherwise rows are zero until `load_state`.
        """
        self._networks = [m.network for m in members if m.network is not None]
        self.common = common(self._networks)
        self.network = self.common.network
        self._fits = [
            None if network.rounded() == self.network else RowFit(self.common, row, network)
            for row, network in enumerate(self._networks)
        ]
        """Of the trials that are smaller than the shape."""
        assert not (self.common.branches and any(_is_by_layer(m) for m in members)), "names of layers differ"
        device, layout, num_trials = problem.device, RowLayout(self.network.parameters()), len(members)
        p_KP = torch.zeros(num_trials, layout.length, device=device)
        statistics = _running_statistics(self.network, num_trials, device)
        if initialise:
            added = 0.0 if problem.loss == "mse" else NO_CLASS
            for row, (member, network) in enumerate(zip(members, self._networks, strict=True)):
                own = {f"{layer}.{n}": statistics[f"{place}.{n}"][row]
                       for layer, place in enumerate(self.common.places[row])
                       for n in network.layers[layer].statistics}  # fmt: skip
                fit, values = self._fits[row], _first_values(member, network, own)
                p_KP[row] = layout.pack(values, places=fit.parameters if fit else None, added_outputs=added)
        settings = [m.settings for m in members]
        super().__init__(
            members,
            problem,
            layout,
            p_KP,
            statistics,
            names={p: f"{p.layer}.{p.name}" for p in layout.parameters},
            inputs_first=True,
            num_dropouts=self.network.num_dropouts if _drops(settings) else 0,
            recording=Recording(
                script_after=SCRIPT_AFTER_RUNS, kernels_after=KERNELS_AFTER_RUNS, graph_after=0, pool=new_pool(device)
            ),
        )
        self._parts = NetworkParts(
            common=self.common,
            own=self._networks,
            weights=partial(_weights, layout, p_KP, self.g_KP),
            statistics=self.buffers,
            dropouts=_dropout_inputs(settings, self._networks, self._keys_LK),
            first_trained=self._rates.lowest_trained_layer,
            held=self._held_norms(),
        )
        self.examples = AtHand(
            problem.train, partial(targets_table, problem=problem), batch_size=settings[0].batch_size
        )
        self._example_shape = first_shape(problem, self.network)
        self._step_memory: list[Tensor] = []
        """Of the tapes of all batch sizes."""
        self._passed: dict[str, Tensor] = {}
        """What each epoch that was trained in one go came to: parameters and, by name, buffers, (epochs, K, ...)."""
        self._evaluator = Evaluator(  # in float32, as whoever has the stored weights evaluates them
            partial(Tape, num_trials=num_trials, device=device, training=False), self._parts,
            num_trials=num_trials, num_outputs=problem.num_outputs, example_shape=self._example_shape, device=device,
            rows=evaluation_rows(4 * self.network.num_activations),
        )  # fmt: skip

    def _new_gradients(self, batch_size: int) -> tuple[Tensor, Tensor, Sequence[Operation]]:
        num_trials, problem = len(self.members), self.problem
        tape = Tape(
            batch_size, num_trials=num_trials, device=problem.device, training=True, half=problem.half,
            shared=self._step_memory,
        )  # fmt: skip
        x = tape.memory.buffer(num_trials * batch_size, *self._example_shape)
        y = tape.memory.buffer(num_trials * batch_size, self.examples.targets.shape[1])
        z = record_network(tape, x.view(num_trials, batch_size, *x.shape[1:]), self._parts)
        record_loss_gradient(
            tape, z, y.view(num_trials, batch_size, -1),
            loss=problem.loss, num_targets=problem.num_outputs, weighted=self._changes.weighted,
        )  # fmt: skip
        return x, y, [*tape.forward, *reversed(tape.backward)]

    def _before_steps(self, shares: Sequence[Mapping[str, float]]) -> None:
        for row, own in enumerate(shares):
            for layer, held_K in self._parts.held.items():
                held_K[row] = own[f"{layer}.weight"] == 0.0

    def _held_norms(self) -> dict[int, Tensor]:
        """For each norm that has statistics whether each trial keeps them, refilled for each epoch; bool, (K,)."""
        if not self._rates.active:
            return {}
        norms = (index for index, layer in enumerate(self.network.layers) if layer.statistics)
        return {i: torch.zeros(len(self.members), dtype=torch.bool, device=self.problem.device) for i in norms}

    def most_epochs(self, num_examples: int) -> int:
        """How many epochs it may train in one go, if each is evaluated on so many examples; 1 where each is apart."""
        if self._changes.active or self._noise.active or self._rates.active or self.average.active:
            return 1
        if self.problem.device.type != "cpu":
            return 1
        passed = sum(t.numel() for t in (self.p_KP, *self.buffers.values()))
        outputs = len(self.members) * num_examples * self.problem.num_outputs
        return max(1, _EPOCHS_BYTES // (4 * (passed + outputs)))

    @torch.no_grad()
    def train_epochs(self, plan: EpochPlan, inputs: Tensor) -> Tensor:
        """Train all epochs of a plan, and evaluate after each.

        Args:
            plan: Of at most `most_epochs`.
            inputs: (examples, *input_shape).

        Returns:
            Outputs, (epochs, K, examples, outputs); valid until the next call.
        """
        shape = (plan.num_epochs, len(self.members), len(inputs), self.problem.num_outputs)
        outputs = torch.empty(shape)
        live = {"": self.p_KP, **self.buffers}
        self._passed = {name: t.new_empty(plan.num_epochs, *t.shape) for name, t in live.items()}
        for epoch in range(plan.num_epochs):
            if self._train_by_kernels(plan, epoch, inputs, outputs):
                break
            self.train_steps(plan, epoch * plan.epoch_steps, (epoch + 1) * plan.epoch_steps)
            self._evaluator.outputs(inputs, into=outputs[epoch])
            for name, tensor in live.items():
                self._passed[name][epoch] = tensor
        return outputs

    def _train_by_kernels(self, plan: EpochPlan, first: int, inputs: Tensor, outputs: Tensor) -> bool:
        """Do the epochs from `first` on in one call of the compiled kernels; False if they do not run all of it yet."""
        parts = []
        for batch_size, tables, num_steps in self._tables_of(plan).of_all_epochs():
            kernels = None if batch_size not in self._steps else self._steps[batch_size].kernels
            if kernels is None:
                return False
            parts.append(kernels.parts([table[first:] for table in tables], 0, num_steps))
        found = self._evaluator.parts(inputs, outputs[first:])
        if found is None:
            return False
        live = {"": self.p_KP, **self.buffers}
        passed = Parts.of_saves([*live.values()], [self._passed[name][first:] for name in live])
        run_parts([*parts, *found, passed], num_trials=len(self.members))
        return True

    @torch.no_grad()
    def save_best_of(self, epochs: Mapping[int, int]) -> None:
        """Remember what these rows were after some of the epochs that were trained in one go last, as their best."""
        rows, chosen = list(epochs), list(epochs.values())
        for name, best in {"": self.best_KP, **self.best_buffers}.items():
            best[rows] = self._passed[name][chosen, rows]

    def _outputs(self, inputs: Tensor) -> Tensor:
        return self._evaluator.outputs(inputs)

    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        firing = self._evaluator.firing_units(inputs)
        own = [[*network.hidden_widths, *[0] * len(firing)][: len(firing)] for network in self._networks]
        units_LK = torch.tensor(own, device=self.problem.device).view(len(own), len(firing)).T
        # A trial that lacks a layer has none of no units there, which is no number.
        return {
            f"hidden layer {n + 1}": 1.0 - fired.sum(dim=1) / units_K
            for n, (fired, units_K) in enumerate(zip(firing, units_LK, strict=True))
        }

    def gradient_norms(self) -> dict[str, Tensor]:
        """See `Program.gradient_norms`; by the names in each trial's own network."""
        found = super().gradient_norms()
        if not self.common.branches:
            return found
        named: dict[str, Tensor] = {}
        for row, places in enumerate(self.common.places):
            for layer, place in enumerate(places):
                if (norm_K := found.get(f"{place}.weight")) is not None:
                    own_K = named.setdefault(f"{layer}.weight", torch.full_like(norm_K, torch.nan))
                    own_K[row] = norm_K[row]
        return dict(sorted(named.items(), key=lambda item: int(item[0].partition(".")[0])))

    def state(self, row: int, *, lent: bool = False) -> RowState:
        fit, state = self._fits[row], super().state(row, lent=lent)
        return state if fit is None else fit.narrowed(state)

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        fit = self._fits[row]
        super().load_state(row, state if fit is None else fit.widened(state, self._rows()))

    def best_weights(self, row: int) -> RowState:
        network = self._networks[row]
        found: RowState = {}
        best = self.layout.unpack(self.best_KP[row].cpu(), network.parameters(), places=self.places(row))
        for parameter, value in best.items():
            layer = network.layers[parameter.layer]
            plain = transposed_for_module(layer, value) if parameter.name == "weight" else value
            found[f"{parameter.layer}.{parameter.name}"] = plain.clone(memory_format=torch.contiguous_format)
        for index, layer in enumerate(network.layers):
            if isinstance(layer, Norm):
                for name in layer.statistics:
                    kept = self.best_buffers[f"{self.common.places[row][index]}.{name}"]
                    found[f"{index}.{name}"] = kept[row, : layer.features].cpu().clone()
                found |= {f"{index}.{counter}": torch.tensor(0) for counter in layer.counters}
        return found

    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> StackedProgram:
        networks = [*(self._networks[row] for row in keep), *(m.network for m in joining if m.network is not None)]
        if common(networks).network == self.network:
            return super().resized(keep, joining)
        states = [self.state(row) for row in keep]
        self._let_go()
        program = self._successor([*(self.members[row] for row in keep), *joining], keep)
        for row, state in enumerate(states):
            program.load_state(row, state)
        return program

    def places(self, row: int) -> Sequence[Parameter]:
        """The parameters of the shape that one of the trials has, in the order of its own network's."""
        fit = self._fits[row]
        return self.layout.parameters if fit is None else fit.parameters

    def _successor(self, members: Sequence[Member], keep: Sequence[int]) -> StackedProgram:
        return StackedProgram(members, self.problem, initialise=len(members) > len(keep))

    def renew(self, members: Sequence[Member]) -> bool:
        """Train other members from now on with what is recorded, if they differ in values that it reads alone.

        False: it cannot, and is good for nothing more. Their states are the caller's to load.
        """
        settings = [m.settings for m in members]
        drops = self.network.num_dropouts > 0 and _drops(settings)
        if [m.network for m in members] != self._networks or drops != bool(len(self._keys_LK)):
            return False
        if not self._take(members):
            return False
        dropouts = _dropout_inputs(settings, self._networks, self._keys_LK)
        for inputs, own in zip(self._parts.dropouts, dropouts, strict=True):
            inputs.threshold_K.copy_(own.threshold_K)
            inputs.scale_K.copy_(own.scale_K)
        return True

    def _let_go(self) -> None:
        super()._let_go()
        self._step_memory = []
        self._passed = {}
        self._evaluator.clear()


def _first_values(member: Member, network: Network, statistics: Mapping[str, Tensor]) -> dict[Parameter, Tensor]:
    """A trial's initial weights; if they come from a file, its norms' statistics are set on the way."""
    if not member.pretrained:
        return initial_values(network, seed=member.seed, init=member.settings.init)
    module = member.make_module()
    for name, tensor in statistics.items():
        value = module.get_buffer(name)
        tensor[: len(value)] = value.to(tensor.device)
    return read_values(module, network)


def _running_statistics(network: Network, num_trials: int, device: torch.device) -> dict[str, Tensor]:
    """Initial statistics of each norm by state-dict name, shape (K, F)."""
    return {
        f"{index}.{name}": torch.full((num_trials, layer.features), start, device=device)
        for index, layer in enumerate(network.layers)
        if isinstance(layer, Norm)
        for name, start in layer.statistics.items()
    }


def _drops(settings: Sequence[Settings]) -> bool:
    return any(s.dropout or s.dropout_last for s in settings)


def _is_by_layer(member: Member) -> bool:
    """Whether a trial has values for layers by their names, or by their places among all."""
    return member.transfer is not None or bool(member.settings.by_layer) or member.settings.weight_noise > 0


def _dropout_inputs(settings: Sequence[Settings], networks: Sequence[Network], keys_LK: Tensor) -> list[DropoutInputs]:
    """One for each dropout layer that has a key."""
    rates_KL = [
        [*dropout_rates(s.dropout, s.dropout_last, n.num_dropouts, listed=s.listed_dropout), *[0.0] * len(keys_LK)]
        for s, n in zip(settings, networks, strict=True)
    ]
    rates_KL = [rates[: len(keys_LK)] for rates in rates_KL]
    thresholds = torch.tensor([[dropout_threshold(r) for r in rates] for rates in rates_KL], dtype=torch.int32)
    scales = torch.tensor([[1.0 / (1.0 - r) for r in rates] for rates in rates_KL])
    layers = zip(keys_LK, thresholds.T.to(keys_LK.device), scales.T.to(keys_LK.device), strict=True)
    return [DropoutInputs(*(t.contiguous() for t in layer)) for layer in layers]


def _weights(layout: RowLayout, p_KP: Tensor, g_KP: Tensor, index: int) -> Weights:
    """A layer's parameters and gradients."""
    own = {p.name: p for p in layout.parameters if p.layer == index}

    def view(rows_KP: Tensor, name: str) -> Tensor:
        return layout.view(rows_KP, own[name]) if name in own else rows_KP[:, :0]

    return Weights(view(p_KP, "weight"), view(p_KP, "bias"), view(g_KP, "weight"), view(g_KP, "bias"))
