"""Traces by OpenTelemetry: through what is sent, from whoever asks to the step that does it."""
