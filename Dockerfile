# predfuse on a processor: builds the pinned environment and runs the demo.
# Where pip would choose a CUDA build of PyTorch, --build-arg PIP_EXTRA_INDEX_URL=... names an index of CPU builds.
#   mkdir -p out && docker build -t predfuse . && docker run --rm --user "$(id -u)" -v "$PWD/out:/out" predfuse
# With --user what it writes is yours; that user has no home there, so that caches go to /tmp.
FROM python:3.11-slim
ARG PIP_EXTRA_INDEX_URL=
WORKDIR /predfuse
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir -c constraints.txt .
RUN useradd --create-home user && mkdir /out && chown user /out
USER user
ENV HOME=/tmp NUMBA_CACHE_DIR=/tmp/numba
CMD ["predfuse", "demo", "--json", "/out/demo.json", "--report", "/out/demo.html"]
