/** The entry of a worker thread. */
import { audioService } from './audio/service.js';
import { voiceService } from './vad/service.js';
import { serve } from './workers/serve.js';

serve({ audio: audioService, voice: voiceService });
