"""The gRPC listener: logstore.v1 over grpc.aio. See README.md."""
