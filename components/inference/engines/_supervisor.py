"""Engines that are programs, behind the front: started, watched, started again when they die, and exchanged."""

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from components.errors import MartletError
from components.inference.engines import ServeSettings
from components.inference.engines._program import Engine, Program
from components.inference.front import create_front
from components.inference.place import Place
from components.inference.served import RETIREMENT_S
from components.inference.server import listening

MOST_DEATHS = 3
WINDOW_S = 600
"""After so many deaths within so many seconds of service nobody starts the program again."""


@contextmanager
def supervised(engine: Engine, model: Path, adapters: Mapping[str, Path], settings: ServeSettings) -> Generator[str]:
    """Serve a model with an engine's program behind the front; see `served` of `components.inference.Engine`.

    A program that dies is started again; after too many deaths the block is interrupted, as by ctrl-C, and left with
    the reason.
    """
    serve = settings.params.serve
    place = Place(serve.max_waiting_requests, engine.at_once(settings.params))
    front = create_front(place, settings.api_key, serve, settings.with_page)
    supervisor = Supervisor(engine, place)
    try:
        with listening(front, serve.drain_timeout, settings.host, settings.port, settings.api_key) as url:
            supervisor.serve(model, adapters, settings)
            if settings.on_ready:
                settings.on_ready(supervisor.replace, url)
            yield url
    except KeyboardInterrupt:
        if not supervisor.failure:
            raise
    finally:
        supervisor.close()
    if supervisor.failure:
        raise supervisor.failure


class Supervisor:
    """Starts the programs of an engine, one at a time, and gives them their place before the clients."""

    def __init__(self, engine: Engine, place: Place):
        self.engine, self.place = engine, place
        self.program: Program | None = None
        self.failure: MartletError | None = None
        self._programs: set[Program] = set()
        self._starting, self._lock = threading.Lock(), threading.Lock()
        self._is_closed = False
        self._served_s, self._deaths = 0.0, deque[float](maxlen=MOST_DEATHS)

    def serve(self, model: Path, adapters: Mapping[str, Path], settings: ServeSettings) -> None:
        """Start a program for a model, check it, let it answer in place of the one before, and end that one when it
        has answered what it has begun.

        Raises:
            ConfigError: the engine cannot serve this; the program before goes on.
            MartletError: the program does not become ready; the program before goes on.
        """
        with self._starting:
            old = self.program
            self._start(partial(Program, self.engine, model, adapters, settings))
        if old:
            self.place.wait_until_idle(old, RETIREMENT_S)
            self._end(old)

    def replace(self, model: Path, settings: ServeSettings) -> None:
        """Serve another model, without adapters; see `serve`."""
        self.serve(model, {}, settings)

    def close(self) -> None:
        """End all programs, those that are being started too."""
        with self._lock:
            self._is_closed = True
        self.place.put(None)
        for program in list(self._programs):
            self._end(program)

    def _start(self, launch: Callable[[], Program]) -> None:
        """Start a program, check it, and give it the place."""
        with self._lock:
            if self._is_closed:
                raise MartletError("the server has ended")
            program = launch()
            self._programs.add(program)
        try:
            program.require_ready()
        except BaseException:
            program.end()
            self._programs.discard(program)
            raise
        self.program = program
        self.place.put(program)
        threading.Thread(target=self._watch, args=(program, launch), name=self.engine.name, daemon=True).start()

    def _end(self, program: Program) -> None:
        is_alive = program.process.poll() is None
        program.end()
        self._programs.discard(program)
        if is_alive:
            program.log.unlink()

    def _watch(self, program: Program, launch: Callable[[], Program]) -> None:
        """Wait until a program dies in its place, and start it again, unless another takes its place meanwhile."""
        begun = time.monotonic()
        program.process.wait()
        if not self.place.remove(program):
            return
        self._end(program)
        self._served_s += time.monotonic() - begun
        message = f"{self.engine.name} ended while it served: {program.reason()}"
        while not self._is_closed:
            self._deaths.append(self._served_s)
            if len(self._deaths) == MOST_DEATHS and self._served_s - self._deaths[0] < WINDOW_S:
                self._fail(message)
                return
            print(f"{message}; it is started again", file=sys.stderr, flush=True)
            with self._starting:
                if self.program is not program:
                    return
                try:
                    self._start(launch)
                    return
                except Exception as error:
                    message = str(error)

    def _fail(self, message: str) -> None:
        """End the service: interrupt the block of `supervised`, which the main thread is in."""
        with self._lock:
            if not self._is_closed:
                self.failure = MartletError(f"{message}; it died {MOST_DEATHS} times in a short time")
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
