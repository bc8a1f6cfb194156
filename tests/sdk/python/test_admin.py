"""The official OpenAI SDK for Python, unmodified, asking aigw's admin plane what was used and what it cost: OpenAI's own Admin
API, typed results and all. Runs after the other SDK tests; what they left in the ledger is what is asked about.
"""

import json
import os
import time
import unittest
import urllib.request
from collections import defaultdict
from decimal import Decimal

import openai
from openai.types.admin.organization import UsageCompletionsResponse, UsageCostsResponse, UsageEmbeddingsResponse
from openai.types.admin.organization import usage_completions_response as completions_types
from openai.types.admin.organization import usage_costs_response as costs_types
from openai.types.admin.organization import usage_embeddings_response as embeddings_types

DAY = 86_400
client = openai.OpenAI(admin_api_key=os.environ["AIGW_ADMIN_TOKEN"], max_retries=0)
usage = client.admin.organization.usage
# From yesterday's midnight, so that a run across midnight counts whole.
start = int(time.time()) // DAY * DAY - DAY


def ledger():
    entries, cursor = [], ""
    while True:
        url = f"{os.environ['AIGW_URL']}/admin/v1/ledger?limit=1000{cursor}"
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {os.environ['AIGW_ADMIN_TOKEN']}"})
        with urllib.request.urlopen(request) as answer:
            page = json.load(answer)
        entries += page["data"]
        if not page["has_more"]:
            return entries
        cursor = f"&cursor={page['next_cursor']}"


def results(page):
    return [result for bucket in page.data for result in bucket.results]


def nano(result):
    return int(Decimal(repr(result.amount.value)) * 10**9)


class Organization(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.entries = ledger()

    def summed(self, field, *operations):
        return sum(entry[field] for entry in self.entries if entry["operation"] in operations)

    def test_completions(self):
        page = usage.completions(start_time=start)
        self.assertIsInstance(page, UsageCompletionsResponse)
        self.assertEqual((page.object, page.has_more, page.next_page, len(page.data)), ("page", False, None, 2))
        for bucket in page.data:
            self.assertEqual((bucket.object, bucket.end_time - bucket.start_time), ("bucket", DAY))
        found = results(page)
        self.assertGreater(len(found), 0)
        for result in found:
            self.assertIsInstance(result, completions_types.DataResultOrganizationUsageCompletionsResult)
            self.assertEqual((result.project_id, result.user_id, result.api_key_id, result.model, result.batch), (None,) * 5)
        kinds = ("chat", "completions")
        self.assertEqual(sum(result.input_tokens for result in found), self.summed("prompt_tokens", *kinds))
        self.assertEqual(sum(result.input_cached_tokens for result in found), self.summed("cached_tokens", *kinds))
        self.assertEqual(sum(result.output_tokens for result in found), self.summed("completion_tokens", *kinds))
        requests = sum(entry["operation"] in kinds for entry in self.entries)
        self.assertEqual(sum(result.num_model_requests for result in found), requests)

    def test_completions_grouped_and_filtered(self):
        groups = ["project_id", "user_id", "api_key_id", "model", "batch"]
        found = results(usage.completions(start_time=start, bucket_width="1h", limit=168, group_by=groups, project_ids=["sdk"]))
        expected = defaultdict(int)
        for entry in self.entries:
            if entry["operation"] != "embeddings":
                expected[(entry["tenant"], entry["subject"], entry["key_id"], entry["model"])] += entry["prompt_tokens"]
        shown = defaultdict(int)
        for result in found:
            self.assertIs(result.batch, False)
            shown[(result.project_id, result.user_id, result.api_key_id, result.model)] += result.input_tokens
        self.assertEqual(shown, expected)
        only = results(usage.completions(start_time=start, models=["sdk-complete"], user_ids=["tester"], group_by=["model"]))
        self.assertEqual({result.model for result in only}, {"sdk-complete"})
        self.assertEqual(results(usage.completions(start_time=start, project_ids=["nobody"])), [])
        self.assertEqual(results(usage.completions(start_time=start, batch=True)), [])

    def test_embeddings(self):
        page = usage.embeddings(start_time=start, group_by=["model"])
        self.assertIsInstance(page, UsageEmbeddingsResponse)
        found = results(page)
        for result in found:
            self.assertIsInstance(result, embeddings_types.DataResultOrganizationUsageEmbeddingsResult)
            self.assertEqual(result.model, "sdk-embed")
        self.assertEqual(sum(result.input_tokens for result in found), self.summed("prompt_tokens", "embeddings"))

    def test_costs_to_the_nano_dollar(self):
        page = usage.costs(start_time=start, group_by=["project_id", "line_item"])
        self.assertIsInstance(page, UsageCostsResponse)
        shown = defaultdict(int)
        for result in results(page):
            self.assertIsInstance(result, costs_types.DataResultOrganizationCostsResult)
            self.assertEqual((result.project_id, result.amount.currency), ("sdk", "usd"))
            shown[result.line_item] += nano(result)
        expected = defaultdict(int)
        for entry in self.entries:
            expected[entry["model"]] += entry["cost_nanousd"]
        self.assertEqual(shown, expected)

    def test_pages(self):
        seen, page = [], usage.completions(start_time=start, end_time=start + 2 * DAY, bucket_width="1h", limit=7)
        while True:
            seen += [bucket.start_time for bucket in page.data]
            if not page.has_more:
                break
            page = usage.completions(start_time=start, end_time=start + 2 * DAY, bucket_width="1h", limit=7, page=page.next_page)
        self.assertEqual(seen, list(range(start, start + 2 * DAY, 3_600)))

    def test_limits_are_those_that_openai_documents(self):
        long_ago = start - 400 * DAY
        widths = [("1m", 60, 60, 1_440), ("1h", 3_600, 24, 168), ("1d", DAY, 7, 31)]
        questions = [(ask, {"bucket_width": width}, *rest) for ask in (usage.completions, usage.embeddings) for width, *rest in widths]
        for ask, width, seconds, usual, longest in questions + [(usage.costs, {}, DAY, 7, 180)]:
            for limit, count in [({}, usual), ({"limit": longest}, longest)]:
                page = ask(start_time=long_ago, **width, **limit)
                self.assertEqual((len(page.data), page.has_more), (count, True))
                self.assertEqual({bucket.end_time - bucket.start_time for bucket in page.data}, {seconds})
            for limit in (0, longest + 1):
                with self.assertRaises(openai.BadRequestError) as caught:
                    ask(start_time=long_ago, limit=limit, **width)
                self.assertEqual(caught.exception.param, "limit")

    def test_a_question_that_makes_no_sense(self):
        for wrong, param in [({"limit": -1}, "limit"), ({"end_time": 1}, "end_time"), ({"group_by": ["colour"]}, "group_by")]:
            with self.assertRaises(openai.BadRequestError) as caught:
                usage.completions(start_time=start, **wrong)
            self.assertEqual(caught.exception.param, param)
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(admin_api_key="x" * 40, max_retries=0).admin.organization.usage.costs(start_time=start)


if __name__ == "__main__":
    unittest.main()
