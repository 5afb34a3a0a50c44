"""Where replies come from: any OpenAI-compatible endpoint, or the embedded model behind one."""
