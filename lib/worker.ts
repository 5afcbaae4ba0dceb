/** The entry point of worker threads. */
import { audioService } from './audio/service.js';
import { voiceService } from './vad/service.js';
import { serve } from './workers/serve.js';

serve({ audio: audioService, voice: voiceService });
