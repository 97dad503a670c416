"""The compiled modules. Without Cython or a C compiler the same source runs as plain Python."""

import os

from setuptools import Extension, setup

MODULES = ("_codec", "_encoder")  # in logstore/record: the hot loops that read and that write

extensions = []
if os.environ.get("LOGSTORE_PURE") != "1":
    try:
        from Cython.Build import cythonize
    except ImportError:
        pass
    else:
        # optional: a failing C compiler is a warning; a failing Cython is an error of ours.
        extensions = cythonize(
            [
                Extension(
                    f"logstore.record.{name}",
                    [f"logstore/record/{name}.py"],
                    optional=True,
                    extra_compile_args=["-O3"] if os.name == "posix" else [],
                )
                for name in MODULES
            ],
            build_dir="build/cython",
            language_level=3,
        )

setup(ext_modules=extensions)
