"""SOAP 1.1 at ``/soap``: every entity of the catalogue, described by two WSDLs."""
