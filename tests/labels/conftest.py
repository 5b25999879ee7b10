from tests.helpers.caches import own_cache as own_cache
