# docker build -t ebm-server --build-arg VERSION="$(scripts/version.sh 0.1.0)" .
# docker run -p 127.0.0.1:8080:8080 -v "$PWD/repository:/models:ro" ebm-server [option ...]
# With --target gpu: the same and the plug-in of --device cuda (docs/GPU.md); docker run --gpus all ...
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        gcc libc6-dev meson ninja-build pkg-config \
        libmicrohttpd-dev libgnutls28-dev libuv1-dev libjansson-dev libopenblas-dev libdnnl-dev librandom123-dev zlib1g-dev \
        libspng-dev libturbojpeg0-dev libseccomp-dev
WORKDIR /src
COPY . .
ARG VERSION=""
RUN export EBM_VERSION="$VERSION" && meson setup /build --prefix=/usr --strip -Dtests=disabled -Dseccomp=enabled && \
    meson install -C /build --destdir /installed

FROM debian:bookworm-slim AS serve
LABEL org.opencontainers.image.title="ebm-server" \
      org.opencontainers.image.description="Energy-based regression served over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update && apt-get install -y --no-install-recommends \
        libmicrohttpd12 libuv1 libjansson4 libopenblas0-pthread libdnnl2 zlib1g libspng0 libturbojpeg0 libseccomp2 && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log && \
    useradd --system --uid 10001 --user-group --no-create-home --home-dir / --shell /usr/sbin/nologin ebm && \
    install -d /models
COPY --from=build /installed/usr/bin/ /usr/bin/
COPY --from=build /installed/usr/share/doc/ebm-server/LICENSE /usr/share/doc/ebm-server/
COPY --chmod=755 deploy/healthcheck.sh /usr/local/bin/healthcheck
USER 10001:10001
VOLUME /models
EXPOSE 8080
ENV EBM_SERVER_SECCOMP=on
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["healthcheck", "8080"]
# Inside a container all addresses are those of the container: what may reach it is said by -p. The port is fixed, so that
# the health check finds it; a stop waits for requests in progress, so give it longer than 35 s (docker stop -t 40).
ENTRYPOINT ["ebm-server", "--model-repository", "/models", "--host", "0.0.0.0", "--port", "8080"]

# A GPU: CUDA's own image gives the compiler and, for what runs, cuBLASLt; the driver is the host's, put in by its container
# toolkit. The system stays Debian's, whose libraries the programs were built for.
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04 AS cuda

FROM build AS build-gpu
COPY --from=cuda /usr/local/cuda-13.0/ /usr/local/cuda/
RUN apt-get install -y --no-install-recommends g++ && \
    export EBM_VERSION="$VERSION" && meson setup /build-gpu --prefix=/usr --libdir=lib --strip -Dtests=disabled -Dseccomp=enabled \
        -Dgpu=enabled -Dgpu_sim=disabled && \
    meson install -C /build-gpu --destdir /installed-gpu && \
    mkdir -p /libraries && cp /usr/local/cuda/lib64/libcublasLt.so.13 /libraries/

FROM serve AS gpu
USER 0:0
COPY --from=build-gpu /installed-gpu/usr/bin/ /usr/bin/
COPY --from=build-gpu /installed-gpu/usr/lib/ /usr/lib/
COPY --from=build-gpu /libraries/ /usr/local/cuda/lib64/
RUN echo /usr/local/cuda/lib64 >/etc/ld.so.conf.d/cuda.conf && ldconfig
USER 10001:10001
# The filter of system calls would refuse the driver's. Two workers keep one device busy.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute \
    EBM_SERVER_SECCOMP=off EBM_SERVER_DEVICE=auto EBM_SERVER_WORKERS=2

FROM serve
