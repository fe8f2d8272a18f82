"""Documents that are made from the code: OpenAPI of the endpoints, AsyncAPI of queues and events."""
