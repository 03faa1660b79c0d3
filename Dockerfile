# Run it with io_uring allowed, which default seccomp profiles block:
#   docker run --security-opt seccomp=unconfined --ulimit nofile=1048576 -p 9001:9001 stentor
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package stentor

FROM debian:bookworm-slim
COPY --from=build /src/target/release/stentor /usr/bin/stentor
USER 65534:65534
EXPOSE 9001
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/stentor"]
CMD ["serve", "--listen", "0.0.0.0:9001"]
