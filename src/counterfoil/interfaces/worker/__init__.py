"""What runs beside the answering of requests: deliveries and watchers, in threads of `serve`."""
