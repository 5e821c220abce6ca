"""What answers: endpoints over HTTP, a GGUF file in this process, a script."""
