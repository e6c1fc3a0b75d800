"""Speech to text with the shared transformer: Whisper's windows, task tokens and guards, and CTC."""
