# The API in a small image: no TensorFlow, not root, and nothing that must be writable but /tmp.
#
#   docker build -t melanoma .
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 melanoma
#
# With LOCK=requirements-registry.txt it can also take --bundle models:/name@alias.

FROM python:3.13-slim AS build
ARG LOCK=requirements-serve.txt
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/melanoma
COPY ${LOCK} /build/
RUN /opt/melanoma/bin/python -m pip install --require-hashes -r "/build/${LOCK}"
COPY pyproject.toml README.md LICENSE /build/
COPY recipes /build/recipes
COPY src /build/src
RUN /opt/melanoma/bin/python -m pip install --no-deps /build

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 melanoma && install -d -o melanoma /home/melanoma/.cache
COPY --from=build /opt/melanoma /opt/melanoma
ENV PATH=/opt/melanoma/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/melanoma
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["melanoma"]
CMD ["serve", "--host", "0.0.0.0"]
