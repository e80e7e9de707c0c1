"""The doors: command line, REST, scenario files and the demo."""
