"""Speech to text → text model → text to speech, each a plug-in. Read stages.py, then pipeline.py."""
