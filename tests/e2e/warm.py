"""A Python that has loaded the packages which nearly every command needs: each command is a fork of it.

It loads nothing of ours: a command that forgets to import or to register something fails as it does for a user.

    python warm.py serve SOCKET            loads the packages, then takes commands until its parent ends
    python warm.py SOCKET [python's own]   runs as `python` does, in a fork of that process
"""

import json
import os
import runpy
import signal
import socket
import struct
import sys

PACKAGES = ('torchvision', 'matplotlib.pyplot', 'imgaug', 'pycocotools.mask', 'mmengine.runner', 'mmdet.apis')
LENGTH = struct.Struct('!i')  # of what follows; alone, an exit status


def serve(path: str) -> None:
    """Returns in forks only, once for each command, with that command's surroundings."""
    parent = os.getppid()
    del sys.path[0]  # the folder of this file
    for name in PACKAGES:
        __import__(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    listener.settimeout(5)  # s
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    while True:
        try:
            client, _ = listener.accept()
        except TimeoutError:
            if os.getppid() != parent:
                os._exit(0)  # the tests were killed
            continue
        if os.fork() == 0:
            listener.close()
            return answer(client)
        client.close()


def answer(client: socket.socket) -> None:
    """Run the command in another fork, and tell its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, files, _, _ = socket.recv_fds(client, LENGTH.size, 3)
    with client.makefile('rb') as stream:
        command = json.loads(stream.read(*LENGTH.unpack(head)))
    child = os.fork()
    if child == 0:
        client.close()
        return become(command, files)
    _, status = os.waitpid(child, 0)
    client.sendall(LENGTH.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def become(command: dict, files: list[int]) -> None:
    """Take over the streams, folder, variables and arguments of the one who asks, and run what these name."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(command['folder'])
    os.environ.clear()
    os.environ.update(command['variables'])
    _draw_anew()
    added = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    sys.path[:0] = [path for path in added if path and path not in sys.path]
    first, *rest = (word for word in command['arguments'] if word != '-u')
    if first == '-c':
        sys.argv, sys.path[:0] = ['-c', *rest[1:]], ['']
        exec(rest[0], {'__name__': '__main__'})
    elif first == '-':
        sys.argv, sys.path[:0] = ['-', *rest], ['']
        exec(sys.stdin.read(), {'__name__': '__main__'})
    elif first == '-m':
        sys.argv, sys.path[:0] = rest, [os.getcwd()]
        runpy.run_module(rest[0], run_name='__main__', alter_sys=True)
    else:
        sys.argv, sys.path[:0] = [first, *rest], [os.path.dirname(os.path.abspath(first))]
        runpy.run_path(first, run_name='__main__')


def _draw_anew() -> None:
    """NumPy's random state is the first process's; Python draws its own anew, and torch's is always the same."""
    import numpy as np

    np.random.seed()


def ask(path: str, arguments: list[str]) -> int:
    """Have a command run here, and return its status."""
    command = dict(folder=os.getcwd(), variables=dict(os.environ), arguments=arguments)
    content = json.dumps(command).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [LENGTH.pack(len(content))], [0, 1, 2])
        server.sendall(content)
        (status,) = LENGTH.unpack(server.recv(LENGTH.size))
    return status if status >= 0 else 128 - status


if __name__ == '__main__':
    if sys.argv[1] == 'serve':
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
