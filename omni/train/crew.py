"""Several processes that read a step's conversations together, each with its share and one thread.

On busy cores this is faster than threads: threads wait for each other at every small operation, processes once a step
(measured on two busy cores: 20 s a step with two threads, 13 s with two processes). The weights lie in shared memory;
gradients are summed in the order of the processes, so that a run can be repeated to the bit.
"""

import atexit
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

WAIT = 600.0  # s for the answer of another process before it is taken for dead


@dataclass
class Shared:
    """What all processes of a crew see."""

    modules: dict[str, nn.Module]  # in shared memory
    gradients: list[Tensor]  # of each helper: [parameters]


@dataclass
class Crew:
    """The helpers of a training; with none of them all work is done by the caller."""

    shared: Shared
    pipes: list[Connection] = field(default_factory=list)
    processes: list[Any] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Processes, the caller's own among them."""
        return len(self.pipes) + 1

    def tell(self, message: object) -> None:
        """Say something to every helper."""
        for number, pipe in enumerate(self.pipes):
            try:
                pipe.send(message)
            except OSError as gone:
                raise self._ended(number) from gone

    def hear(self) -> list[Any]:
        """What each helper answers."""
        answers = []
        for number, pipe in enumerate(self.pipes):
            try:
                if not pipe.poll(WAIT):
                    raise TimeoutError(
                        f"training process {number + 1} gave no answer for {WAIT:.0f} s: start again, it resumes"
                    )
                answers.append(pipe.recv())
            except (EOFError, ConnectionError) as gone:
                raise self._ended(number) from gone
        return answers

    def _ended(self, number: int) -> ChildProcessError:
        self.processes[number].join(1)
        status = self.processes[number].exitcode
        return ChildProcessError(
            f"training process {number + 1} ended by itself (exit status {status}; -9 means most often: "
            "too little memory): start again, it resumes; fewer --processes need less memory"
        )

    def add_gradients(self) -> None:
        """Add what the helpers found to the gradients of the caller; a weight that nobody used has zeros."""
        at = 0
        for p in parameters(self.shared.modules):
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            for found in self.shared.gradients:
                p.grad += found[at : at + p.numel()].view_as(p)
            at += p.numel()

    def close(self) -> None:
        """End the helpers."""
        atexit.unregister(self.close)
        for pipe in self.pipes:
            with suppress(OSError):  # it has ended already
                pipe.send(None)
        for process in self.processes:
            process.join(30)
            if process.is_alive():
                process.kill()
        self.pipes, self.processes = [], []


def parameters(modules: dict[str, nn.Module]) -> list[nn.Parameter]:
    """The parameters of all modules in one order."""
    return [p for module in modules.values() for p in module.parameters()]


def leave_gradients(modules: dict[str, nn.Module], where: Tensor) -> None:
    """Write the gradients into shared memory and forget them."""
    at = 0
    for p in parameters(modules):
        piece = where[at : at + p.numel()]
        if p.grad is None:
            piece.zero_()
        else:
            piece.copy_(p.grad.flatten())
            p.grad = None
        at += p.numel()


def hire(helpers: int, work: Any, modules: dict[str, nn.Module], *about: object) -> Crew:
    """Start helpers: each calls `work(pipe, number, shared modules, its gradients, *about)` in a process of its own."""
    if not helpers:
        return Crew(Shared(modules, []))
    for module in modules.values():
        module.share_memory()
    count = sum(p.numel() for p in parameters(modules))
    crew = Crew(Shared(modules, [torch.zeros(count).share_memory_() for _ in range(helpers)]))
    atexit.register(crew.close)  # a training that fails would wait for them for ever: they leave its end to it
    context = mp.get_context("spawn")
    for number in range(helpers):
        mine, theirs = context.Pipe()
        process = context.Process(
            target=work, args=(theirs, number + 1, modules, crew.shared.gradients[number], *about), daemon=True
        )
        process.start()
        crew.pipes.append(mine)
        crew.processes.append(process)
    return crew
