"""Speech made here: text-to-speech, degradations, generated corpora."""
