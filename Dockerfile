# Run it with the profile that allows io_uring, which the engine's default blocks:
#   docker run --security-opt seccomp=scripts/docker/seccomp.json --ulimit nofile=1048576 \
#     -p 9001:9001 stentor
# Without it shards sleep in epoll, and a line of the log says so. Settings: arguments, or variables.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked --package stentor

FROM debian:bookworm-slim
COPY --from=build /src/target/dist/stentor /usr/bin/stentor
COPY scripts/docker/health.sh /usr/lib/stentor/health
# A variable and no argument: whatever else is asked for, clients outside the container are heard.
ENV STENTOR_LISTEN=0.0.0.0:9001
USER 65534:65534
EXPOSE 9001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/usr/lib/stentor/health"]
ENTRYPOINT ["/usr/bin/stentor"]
