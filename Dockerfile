# syntax=docker/dockerfile:1
# Run it with the profile that allows io_uring, which the engine's default blocks:
#   docker run --security-opt seccomp=scripts/docker/seccomp.json --ulimit nofile=1048576 \
#     -p 9001:9001 stentor
# Without it shards sleep in epoll, and a line of the log says so. Settings: arguments, or variables.
# With -e STENTOR_API_KEY=… the admin address can be published too: -p 127.0.0.1:9002:9002.
FROM rust:1.95-bookworm AS build
WORKDIR /src
# The dependencies in a layer of their own: it is built again only when a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY scripts/stubs scripts/stubs
COPY scripts/docker/skeleton.sh /usr/local/bin/skeleton
COPY shards/Cargo.toml shards/
COPY shards/loom/Cargo.toml shards/loom/
COPY bench/Cargo.toml bench/
COPY src/auth/Cargo.toml src/auth/
COPY src/units/Cargo.toml src/units/
COPY src/hgrm/Cargo.toml src/hgrm/
RUN skeleton && cargo build --profile dist --locked --package stentor
COPY . .
RUN skeleton end && cargo build --profile dist --locked --package stentor

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Stentor" \
      org.opencontainers.image.description="A WebSocket broadcast server" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /src/target/dist/stentor /usr/bin/stentor
COPY --chmod=755 scripts/docker/health.sh /usr/lib/stentor/health
COPY --chmod=755 scripts/docker/start.sh /usr/lib/stentor/start
# A volume for history files begins as a copy of this folder, so that nobody in particular may write.
RUN install -d -o 65534 -g 65534 /var/lib/stentor
# A variable and no argument: whatever else is asked for, clients outside the container are heard.
ENV STENTOR_LISTEN=0.0.0.0:9001
USER 65534:65534
EXPOSE 9001 9002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/usr/lib/stentor/health"]
ENTRYPOINT ["/usr/lib/stentor/start"]
