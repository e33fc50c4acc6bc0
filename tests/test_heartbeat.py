"""Whether a process lives, asked about real ones."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from pipeline.tracking.heartbeat import describe_process, is_process_running, this_process

NAME = "from pipeline.tracking.heartbeat import this_process; print(this_process(), flush=True); "


def start(program):
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, process.stdout.readline().strip()


def test_this_one_lives():
    assert is_process_running(this_process()) is True
    assert str(os.getpid()) in describe_process(this_process())


def test_a_killed_one_does_not_even_before_it_is_waited_for():
    process, name = start(f"{NAME} import time; time.sleep(60)")
    assert is_process_running(name) is True
    process.kill()
    for _ in range(100):
        if not is_process_running(name):
            break
        time.sleep(0.05)
    assert is_process_running(name) is False  # a zombie now
    process.communicate()
    assert is_process_running(name) is False


def test_another_of_the_same_number_is_not_the_same():
    host, pid, started = this_process().rsplit(" ", 2)
    assert is_process_running(f"{host} {pid} {started}0") is False


def test_another_host_cannot_be_asked():
    assert is_process_running("elsewhere 1 0-0") is None


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(sent):
    child = textwrap.dedent(
        f"""
        {NAME}
        from pipeline.runtime import end_with_parent
        import time
        end_with_parent()
        print(this_process(), flush=True)
        time.sleep(60)
        """
    )
    parent, name = start(
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    )
    assert parent.stdout.readline().strip() == name  # it watches now
    assert is_process_running(name)
    parent.send_signal(sent)
    parent.wait()
    for _ in range(100):
        if not is_process_running(name):
            break
        time.sleep(0.05)
    assert not is_process_running(name)
    parent.stdout.close()
